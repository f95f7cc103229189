/* One Lua state a scope, without any library. The values of the names live in one Lua array, v; a compiled expression is a
 * Lua function whose upvalues are v and the arithmetic below. Type checking (expr_parse.c) guarantees that the arithmetic
 * sees integers, and that every name it uses has a value, so what can fail here is arithmetic itself.
 *
 * Lua reports memory errors by longjmp: everything that may allocate runs inside lua_pcall. Setting a slot that exists does
 * not allocate. */
#include "expr_private.h"

#include <assert.h>
#include <inttypes.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY_MAX ((size_t)8 << 20)
#define INSTRUCTIONS_MAX 100000

struct slot {
    char *name, *text; /* text: the value of a string */
    enum expr_type type;
    int64_t value;
};

struct expr_scope {
    lua_State *lua; /* its stack holds v at index 1 for ever */
    size_t memory;
    int n, cap;
    struct slot *slots;
    const char **names;
};

struct expr {
    struct expr_scope *scope;
    char *text;
    struct pos at;
    struct expr_code code; /* lua is freed after compiling */
    int ref;               /* in Lua's registry */
};

static void *allocate(void *ctx, void *p, size_t old, size_t n)
{
    struct expr_scope *s = ctx;
    void *q;

    if (!p) old = 0; /* then Lua passes a type tag */
    if (n == 0) {
        free(p);
        s->memory -= old;
        return NULL;
    }
    if (n > old && s->memory + (n - old) > MEMORY_MAX) return NULL;
    q = realloc(p, n);
    if (q) s->memory += n - old;
    return q;
}

static int complain(lua_State *L, const char *what)
{
    lua_pushstring(L, what);
    return lua_error(L);
}

static int too_large(lua_State *L)
{
    return complain(L, "the result is beyond 2^63");
}

static int result(lua_State *L, int64_t v)
{
    lua_pushinteger(L, v);
    return 1;
}

#define A lua_tointeger(L, 1)
#define B lua_tointeger(L, 2)

static int f_add(lua_State *L)
{
    long long r;
    return __builtin_add_overflow(A, B, &r) ? too_large(L) : result(L, r);
}

static int f_sub(lua_State *L)
{
    long long r;
    return __builtin_sub_overflow(A, B, &r) ? too_large(L) : result(L, r);
}

static int f_mul(lua_State *L)
{
    long long r;
    return __builtin_mul_overflow(A, B, &r) ? too_large(L) : result(L, r);
}

/* Towards minus infinity, as Lua. */
static int f_idiv(lua_State *L)
{
    int64_t a = A, b = B;
    if (b == 0) return complain(L, "division by zero");
    if (b == -1) return a == INT64_MIN ? too_large(L) : result(L, -a);
    return result(L, a / b - (a % b != 0 && (a < 0) != (b < 0)));
}

static int f_mod(lua_State *L)
{
    int64_t a = A, b = B, r;
    if (b == 0) return complain(L, "remainder of a division by zero");
    if (b == -1) return result(L, 0);
    r = a % b;
    return result(L, r != 0 && (r < 0) != (b < 0) ? r + b : r);
}

static int f_div(lua_State *L)
{
    int64_t a = A, b = B;
    if (b != 0 && b != -1 && a % b != 0) return complain(L, "`/` leaves a fraction; `//` rounds down");
    return f_idiv(L);
}

static int f_ceil_div(lua_State *L)
{
    int64_t a = A, b = B;
    if (b == 0) return complain(L, "division by zero");
    if (b == -1) return a == INT64_MIN ? too_large(L) : result(L, -a);
    return result(L, a / b + (a % b != 0 && (a < 0) == (b < 0)));
}

static int f_abs(lua_State *L)
{
    int64_t a = A;
    if (a == INT64_MIN) return too_large(L);
    return result(L, a < 0 ? -a : a);
}

static int f_min(lua_State *L)
{
    int64_t best = A;
    for (int i = 2; i <= lua_gettop(L); i++)
        if (lua_tointeger(L, i) < best) best = lua_tointeger(L, i);
    return result(L, best);
}

static int f_max(lua_State *L)
{
    int64_t best = A;
    for (int i = 2; i <= lua_gettop(L); i++)
        if (lua_tointeger(L, i) > best) best = lua_tointeger(L, i);
    return result(L, best);
}

#undef A
#undef B

static const char preamble[] = "local v,add,sub,mul,div,idiv,mod,min,max,abs,ceil_div=...\nreturn function() return ";
static const lua_CFunction arithmetic[] = {f_add, f_sub, f_mul, f_div, f_idiv, f_mod, f_min, f_max, f_abs, f_ceil_div};
#define NARITHMETIC ((int)(sizeof arithmetic / sizeof arithmetic[0]))

static void runaway(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    complain(L, "more than 100000 instructions");
}

/* Lua calls this before abort() on an error outside lua_pcall; no such call exists here. */
static int panic(lua_State *L)
{
    (void)L;
    return 0;
}

static int setup(lua_State *L)
{
    lua_newtable(L);
    luaL_checkstack(L, 64, NULL);
    return 1;
}

struct expr_scope *expr_scope_new(void)
{
    struct expr_scope *s = calloc(1, sizeof *s);

    if (!s) return NULL;
    s->lua = lua_newstate(allocate, s);
    if (!s->lua) {
        free(s);
        return NULL;
    }
    lua_atpanic(s->lua, panic);
    lua_pushcfunction(s->lua, setup);
    if (lua_pcall(s->lua, 0, 1, 0) != LUA_OK) {
        expr_scope_free(s);
        return NULL;
    }
    return s;
}

void expr_scope_free(struct expr_scope *s)
{
    if (!s) return;
    lua_close(s->lua);
    for (int i = 0; i < s->n; i++) {
        free(s->slots[i].name);
        free(s->slots[i].text);
    }
    free(s->slots);
    free(s->names);
    free(s);
}

int expr_slot(const struct expr_scope *s, const char *name)
{
    for (int i = 0; i < s->n; i++)
        if (strcmp(s->names[i], name) == 0) return i;
    return -1;
}

int expr_known(const struct expr_scope *s, const char *const **names)
{
    *names = (const char *const *)s->names;
    return s->n;
}

enum expr_type expr_slot_type(const struct expr_scope *s, int slot)
{
    return s->slots[slot].type;
}

/* v[arg 2] = arg 3, in protected mode: may grow v. */
static int store(lua_State *L)
{
    lua_settop(L, 3);
    lua_settable(L, 1);
    return 0;
}

struct literal {
    const char *text;
};

static int store_text(lua_State *L)
{
    const struct literal *t = lua_touserdata(L, 3);
    lua_settop(L, 2);
    lua_pushstring(L, t->text);
    lua_settable(L, 1);
    return 0;
}

static int declare(struct expr_scope *s, const char *name, enum expr_type type)
{
    char *copy = strdup(name);

    if (!copy) return -1;
    if (s->n == s->cap) {
        int cap = s->cap ? 2 * s->cap : 32;
        struct slot *slots = realloc(s->slots, (size_t)cap * sizeof *slots);
        const char **names;
        if (slots) s->slots = slots;
        names = slots ? realloc(s->names, (size_t)cap * sizeof *names) : NULL;
        if (!names) {
            free(copy);
            return -1;
        }
        s->names = names;
        s->cap = cap;
    }
    s->slots[s->n] = (struct slot){.name = copy, .type = type};
    s->names[s->n] = copy;
    return s->n++;
}

int expr_set_int(struct expr_scope *s, const char *name, int64_t value)
{
    int slot = expr_slot(s, name);
    lua_State *L = s->lua;

    if (slot >= 0) {
        expr_set_slot(s, slot, value);
        return 0;
    }
    lua_pushcfunction(L, store);
    lua_pushvalue(L, 1);
    lua_pushinteger(L, s->n + 1);
    lua_pushinteger(L, value);
    if (lua_pcall(L, 3, 0, 0) != LUA_OK) {
        lua_settop(L, 1);
        return -1;
    }
    slot = declare(s, name, EXPR_INT);
    if (slot < 0) return -1;
    s->slots[slot].value = value;
    return 0;
}

void expr_set_slot(struct expr_scope *s, int slot, int64_t value)
{
    struct slot *v = &s->slots[slot];

    assert(v->type == EXPR_INT);
    if (v->value == value) return;
    v->value = value;
    lua_pushinteger(s->lua, value);
    lua_rawseti(s->lua, 1, slot + 1);
}

int64_t expr_slot_value(const struct expr_scope *s, int slot)
{
    return s->slots[slot].value;
}

int expr_set_str(struct expr_scope *s, const char *name, const char *value)
{
    int slot = expr_slot(s, name), key = slot < 0 ? s->n : slot;
    struct literal text = {value};
    char *copy = strdup(value);
    lua_State *L = s->lua;

    if (!copy) return -1;
    lua_pushcfunction(L, store_text);
    lua_pushvalue(L, 1);
    lua_pushinteger(L, key + 1);
    lua_pushlightuserdata(L, &text);
    if (lua_pcall(L, 3, 0, 0) != LUA_OK) {
        lua_settop(L, 1);
        free(copy);
        return -1;
    }
    if (slot < 0) slot = declare(s, name, EXPR_STR);
    if (slot < 0) {
        free(copy);
        return -1;
    }
    assert(s->slots[slot].type == EXPR_STR);
    free(s->slots[slot].text);
    s->slots[slot].text = copy;
    return 0;
}

/* Arguments: v, the source as a light userdata. Leaves the expression's reference as an integer. */
static int build(lua_State *L)
{
    const struct buf *b = lua_touserdata(L, 2);

    if (luaL_loadbufferx(L, b->p, b->n, "=expression", "t") != LUA_OK) return lua_error(L);
    lua_pushvalue(L, 1);
    for (int i = 0; i < NARITHMETIC; i++)
        lua_pushcfunction(L, arithmetic[i]);
    lua_call(L, 1 + NARITHMETIC, 1);
    lua_pushinteger(L, luaL_ref(L, LUA_REGISTRYINDEX));
    return 1;
}

int expr_compile(struct expr **out, struct expr_scope *s, const char *text, const struct pos *at, struct err *e)
{
    struct expr *x = calloc(1, sizeof *x);
    struct buf chunk = {0};
    lua_State *L = s->lua;
    int rc = -1;

    if (!x) return err_nomem(e);
    x->scope = s;
    x->at = *at;
    x->ref = LUA_NOREF;
    x->text = strdup(text);
    if (!x->text) {
        err_nomem(e);
        goto out;
    }
    TRY(expr_translate(&x->code, s, text, at, e));
    buf_puts(&chunk, preamble);
    buf_add(&chunk, x->code.lua.p, x->code.lua.n);
    buf_puts(&chunk, " end");
    TRY(buf_check(&chunk, e));
    lua_pushcfunction(L, build);
    lua_pushvalue(L, 1);
    lua_pushlightuserdata(L, &chunk);
    if (lua_pcall(L, 2, 1, 0) != LUA_OK) {
        rc = err_at(e, at, "Lua does not accept the expression: %s", lua_tostring(L, -1));
    } else {
        x->ref = (int)lua_tointeger(L, -1);
        rc = 0;
    }
    lua_settop(L, 1);
out:
    buf_free(&chunk);
    buf_free(&x->code.lua);
    if (rc != 0)
        expr_free(x);
    else
        *out = x;
    return rc;
}

void expr_free(struct expr *x)
{
    if (!x) return;
    if (x->ref != LUA_NOREF) luaL_unref(x->scope->lua, LUA_REGISTRYINDEX, x->ref);
    buf_free(&x->code.lua);
    free(x->text);
    free(x);
}

const char *expr_text(const struct expr *x)
{
    return x->text;
}

bool expr_uses(const struct expr *x, const char *name)
{
    for (int i = 0; i < x->code.nslots; i++)
        if (strcmp(x->scope->names[x->code.slots[i]], name) == 0) return true;
    return false;
}

int expr_want_int(const struct expr *x, struct err *e)
{
    if (x->code.types == EXPR_INT) return 0;
    return err_at(e, &x->at, "`%s` does not give an integer", x->text);
}

int expr_want_bool(const struct expr *x, struct err *e)
{
    if ((x->code.types & ~(unsigned)EXPR_TRUTH) == 0) return 0;
    return err_at(e, &x->at, "`%s` is not true or false; compare it with something, for instance `... ~= 0`", x->text);
}

void expr_values(const struct expr *x, struct buf *out)
{
    for (int i = 0; i < x->code.nslots; i++) {
        const struct slot *v = &x->scope->slots[x->code.slots[i]];
        buf_printf(out, "%s%s = ", i > 0 ? ", " : "", v->name);
        if (v->type == EXPR_STR)
            buf_printf(out, "'%s'", v->text);
        else
            buf_printf(out, "%" PRId64, v->value);
    }
}

/* Leaves the value on top of Lua's stack; the caller pops it. */
static int evaluate(const struct expr *x, struct err *e)
{
    lua_State *L = x->scope->lua;
    struct buf seen = {0};
    int status;

    lua_sethook(L, runaway, LUA_MASKCOUNT, INSTRUCTIONS_MAX);
    lua_rawgeti(L, LUA_REGISTRYINDEX, x->ref);
    status = lua_pcall(L, 0, 1, 0);
    if (status == LUA_OK) return 0;
    if (status == LUA_ERRMEM) {
        err_nomem(e);
    } else if (e) {
        const char *what = lua_tostring(L, -1);
        expr_values(x, &seen);
        err_set(e, ERR_INPUT, "`%s`: %s%s%s%s", x->text, what ? what : "cannot be evaluated", seen.n ? " (" : "",
                buf_text(&seen), seen.n ? ")" : "");
        buf_free(&seen);
    }
    lua_settop(L, 1);
    return -1;
}

int expr_int(const struct expr *x, int64_t *out, struct err *e)
{
    lua_State *L = x->scope->lua;

    if (expr_want_int(x, e) != 0 || evaluate(x, e) != 0) return -1;
    *out = lua_tointeger(L, -1);
    lua_settop(L, 1);
    return 0;
}

int expr_bool(const struct expr *x, bool *out, struct err *e)
{
    lua_State *L = x->scope->lua;

    if (expr_want_bool(x, e) != 0 || evaluate(x, e) != 0) return -1;
    *out = lua_toboolean(L, -1);
    lua_settop(L, 1);
    return 0;
}
