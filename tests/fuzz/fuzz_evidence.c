/* A collection from a stranger whose digests are right: whatever its files say, every check ends with an answer.
 *
 * The input's first byte names a file of a good collection (tests/unit/evidence_fixture.h), the second says how the rest changes it: 0, it is the
 * file; else edits of three bytes each, a place and what is written there. */
#include "../unit/evidence_fixture.h"
#include "fuzz.h"

static void edit(struct buf *b, struct fuzz_bytes *input)
{
    while (input->n > 0 && b->n > 0) {
        size_t high = fuzz_byte(input), low = fuzz_byte(input);
        b->p[(high << 8 | low) % b->n] = (char)fuzz_byte(input);
    }
}

void fuzz_one(const uint8_t *data, size_t n)
{
    struct fuzz_bytes input = {data, n};
    struct evidence_files f;
    unsigned id = fuzz_byte(&input) % EVIDENCE_MANIFEST, how = fuzz_byte(&input);

    fixture_files(&f);
    if (how == 0) {
        buf_clear(&f.bytes[id]);
        buf_add(&f.bytes[id], input.p, input.n);
        f.there[id] = true;
    } else {
        edit(&f.bytes[id], &input);
    }
    (void)fixture_failures(&f);
    evidence_files_free(&f);
}
