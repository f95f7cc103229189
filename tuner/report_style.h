/* report_style.h - how a report looks. One column of text, wide enough for its tables; system fonts, so that nothing is fetched.
 *
 * Colours: Okabe & Ito's palette (2008), blue and vermillion on light, their sky blue and orange on dark; nothing is told by colour alone. */
#ifndef REPORT_STYLE_H
#define REPORT_STYLE_H

#define REPORT_STYLE                                                                                                   \
    ":root { color-scheme: light dark; --page: #ffffff; --ink: #1c1c1c; --quiet: #5a5a5a; --line: #d4d4d4; --card: "   \
    "#f4f5f7;\n"                                                                                                       \
    "  --ours: #0072b2; --theirs: #d55e00; --faint: #dddddd; --soft: #8a8a8a; }\n"                                     \
    "@media (prefers-color-scheme: dark) { :root { --page: #15171a; --ink: #e8e8e6; --quiet: #a6a8ab; --line: "        \
    "#3a3e44;\n"                                                                                                       \
    "  --card: #1f2226; --ours: #56b4e9; --theirs: #e69f00; --faint: #34383d; --soft: #7b8087; } }\n"                  \
    "* { box-sizing: border-box; }\n"                                                                                  \
    "body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.5;\n"                                \
    "  font-family: system-ui, -apple-system, \"Segoe UI\", Roboto, \"Liberation Sans\", sans-serif; }\n"              \
    "main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }\n"                                          \
    "h1 { font-size: 1.75rem; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }\n"                               \
    "header p { margin: .3rem 0 0; color: var(--quiet); }\n"                                                           \
    "h2 { font-size: 1.3rem; margin: 2.6rem 0 .6rem; padding-top: .9rem; border-top: 1px solid var(--line); }\n"       \
    "h3 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; }\n"                                                             \
    "p { margin: .5rem 0; max-width: 46rem; overflow-wrap: anywhere; }\n"                                              \
    ".facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: .8rem; margin: 1.2rem " \
    "0; }\n"                                                                                                           \
    ".facts > div { background: var(--card); border-radius: .5rem; padding: .9rem 1.1rem; }\n"                         \
    ".facts p { margin: 0; }\n"                                                                                        \
    ".facts .label { color: var(--quiet); font-size: .875rem; }\n"                                                     \
    ".facts .value { font-size: 1.75rem; font-weight: 650; line-height: 1.3; font-variant-numeric: tabular-nums; }\n"  \
    ".table { overflow-x: auto; margin: .8rem 0 1.2rem; }\n"                                                           \
    ".table:focus-visible { outline: 2px solid var(--ours); }\n"                                                       \
    "table { border-collapse: collapse; font-size: .9rem; min-width: min(26rem, 100%); }\n"                            \
    "caption { text-align: left; color: var(--quiet); padding-bottom: .35rem; }\n"                                     \
    "caption span { display: block; max-width: min(46rem, 100vw - 2rem); }\n"                                          \
    "th, td { text-align: left; vertical-align: top; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid "          \
    "var(--line);\n"                                                                                                   \
    "  font-weight: 400; min-width: 3.5rem; max-width: 34rem; }\n"                                                     \
    "thead th { font-weight: 600; white-space: nowrap; vertical-align: bottom; }\n"                                    \
    "th.n, td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }\n"                     \
    "td.w, th.w { white-space: nowrap; } td.t { min-width: 17rem; }\n"                                                 \
    "td[style], th[style] { padding-left: .6rem; padding-right: .6rem;\n"                                              \
    "  background: color-mix(in srgb, var(--ours) var(--tint), transparent); }\n"                                      \
    "td[data-best] { outline: 2px solid var(--ink); outline-offset: -2px; }\n"                                         \
    "figure { margin: 1rem 0; max-width: 34rem; }\n"                                                                   \
    "figure svg { display: block; width: 100%; height: auto; color: var(--ink); }\n"                                   \
    "figure svg text { font-family: inherit; }\n"                                                                      \
    "figcaption, .none { color: var(--quiet); font-size: .9rem; }\n"                                                   \
    "@media print { :root { color-scheme: light; --page: #ffffff; --ink: #000000; --quiet: #444444; --line: "          \
    "#bbbbbb;\n"                                                                                                       \
    "  --card: #ffffff; --ours: #0072b2; --theirs: #d55e00; --faint: #dddddd; --soft: #999999; }\n"                    \
    "  html { font-size: 11px; } main { max-width: none; padding: 0; } .facts > div { border: 1px solid var(--line); " \
    "}\n"                                                                                                              \
    "  h2, h3 { break-after: avoid; } figure, tr, .facts { break-inside: avoid; } .table { overflow: visible; }\n"     \
    "  td.t { min-width: 10rem; } td[style] { print-color-adjust: exact; } }\n"

#endif
