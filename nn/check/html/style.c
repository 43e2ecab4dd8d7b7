/* How the page looks: on a screen by day and by night, on a phone, on paper. */
#include "nn/check/html/html_impl.h"

const char *const ac_html_style[] = {
    /* Colours. Text has a contrast of at least 4.5 on its ground in both schemes. */
    ":root{color-scheme:light dark;--paper:#fcfbf8;--sheet:#f4f2ec;--ink:#1f2328;--soft:#5b6068;--rule:#dcd8cf;",
    "--good:#1c6b3f;--bad:#a6241d;--bad-ground:#fbe6e2;--accent:#27548a;--tint:#e3ebf5}",
    "@media(prefers-color-scheme:dark){:root{--paper:#15171a;--sheet:#1d2024;--ink:#e4e2dc;--soft:#a2a6ad;--rule:#"
    "363a40;",
    "--good:#7cc79a;--bad:#ff9b8e;--bad-ground:#46211d;--accent:#9cc0ee;--tint:#22324a}}",

    /* The page. */
    "*{box-sizing:border-box}",
    "html{-webkit-text-size-adjust:100%;text-size-adjust:100%;scroll-padding-top:1rem}",
    "body{margin:0 auto;max-width:62rem;padding:2.5rem 1.25rem 4rem;background:var(--paper);color:var(--ink);",
    "font:1.0625rem/1.55 Charter,\"Bitstream Charter\",\"Iowan Old Style\",\"Source Serif 4\",Palatino,Georgia,serif}",
    "a{color:var(--accent);text-underline-offset:.15em}",
    "a:focus-visible,summary:focus-visible,[tabindex]:focus-visible{outline:2px solid "
    "var(--accent);outline-offset:3px;",
    "border-radius:2px}",
    "h1,h2,h3,h4,p,ol,ul,figure,pre{margin:0}",
    "h1{font-size:1.9rem;line-height:1.2;font-weight:600;letter-spacing:-.01em}",
    "h2{font-size:1.45rem;line-height:1.25;font-weight:600;overflow-wrap:anywhere}",
    "h3{font-size:1.1rem;font-weight:600;margin:2.25rem 0 .25rem}",
    "h4{font-size:1.0625rem;font-weight:600;overflow-wrap:anywhere}",
    ".vh,.skip:not(:focus){position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:"
    "nowrap}",
    ".maker,.line,.note,.evidence,.verdict,summary,table,.skip{font-family:system-ui,-apple-system,\"Segoe "
    "UI\",Roboto,",
    "\"Helvetica Neue\",\"Liberation Sans\",sans-serif}",
    ".maker{font-size:.85rem;letter-spacing:.04em;color:var(--soft);margin-bottom:.4rem}",
    ".note,.evidence{font-size:.875rem;line-height:1.5;color:var(--soft)}",
    ".bad{color:var(--bad)}.good{color:var(--good)}",
    ".scroll{overflow-x:auto}sup{line-height:0;font-size:.75em}",

    /* The list of files. */
    ".overview{border-collapse:collapse;margin-top:1.75rem;width:100%;font-size:.9rem}",
    ".overview th,.overview td{padding:.4rem .75rem .4rem 0;border-bottom:1px solid var(--rule);text-align:left;",
    "font-weight:400}",
    ".overview thead th{color:var(--soft)}",
    ".overview td:nth-child(n+3),.overview thead "
    "th:nth-child(n+3){text-align:right;padding-right:0;padding-left:1.25rem;",
    "font-variant-numeric:tabular-nums}",
    ".overview tbody th{overflow-wrap:anywhere}.overview strong{font-weight:600;white-space:nowrap}",
    ".bar{display:inline-block;width:7rem;height:.4rem;border-radius:.2rem;background:var(--bad);overflow:hidden;",
    "vertical-align:.1em}",
    ".bar i{display:block;height:100%;background:var(--good);border-right:2px solid var(--paper)}",
    ".bar i[style$=\"100.0%\"]{border-right:0}",

    /* A file. */
    ".file{margin-top:3.5rem;padding-top:1.5rem;border-top:2px solid var(--ink)}",
    ".tally{margin-top:.25rem;color:var(--soft)}.tally .bar{margin-left:.9rem}",
    ".wrongs{margin-top:.9rem;padding:0;list-style:none}",
    ".wrongs li{padding:.12rem 0}.wrongs a{color:var(--bad);text-decoration-color:var(--rule)}",
    ".wrongs a:hover{text-decoration-color:currentColor}",
    ".line{font-size:.8rem;color:var(--soft);white-space:nowrap}",
    "summary{cursor:pointer;font-size:.875rem;color:var(--soft)}",
    ".source{margin-top:1.5rem}",
    "pre{font:.8rem/1.6 ui-monospace,\"SF Mono\",Menlo,Consolas,\"DejaVu Sans Mono\",monospace;overflow:auto;",
    "background:var(--sheet);border-radius:6px;padding:.8rem 1rem .8rem .25rem;margin-top:.6rem;tab-size:4}",
    "pre .n{color:var(--soft);user-select:none;-webkit-user-select:none}pre i,pre "
    ".cut{color:var(--soft);font-weight:400}",
    "pre i{font-style:normal}pre a{text-decoration:none;font-weight:700;font-family:\"DejaVu Sans Mono\",monospace}",
    "pre a.good{color:var(--good)}pre a.bad{color:var(--bad)}",
    ".failure{margin-top:1rem;padding:.9rem 1.1rem;border-left:3px solid var(--bad);background:var(--sheet);",
    "border-radius:0 6px 6px 0;overflow-wrap:anywhere}",
    ".failure pre{padding:.4rem 0}.failure strong{color:var(--bad);font-weight:600}",

    /* A claim. */
    ".claims{list-style:none;padding:0}",
    ".claims>li{display:grid;grid-template-columns:6.5rem minmax(0,1fr);padding:1.15rem 0;border-bottom:1px solid "
    "var(--rule)}",
    ".claims>li:target{background:linear-gradient(90deg,var(--tint),transparent 60%)}",
    ".said{display:flex;flex-direction:column;gap:.05rem}",
    ".verdict{font-size:.9rem;font-weight:600;line-height:1.65rem}",
    ".wrong .what{border-left:3px solid var(--bad);padding-left:1.1rem;margin-left:-1.1rem}",
    ".formula{overflow-x:auto;overflow-y:hidden;padding:.45rem 0 .35rem;line-height:2.2;max-width:100%}",
    "math{font-size:1.18em;font-family:\"STIX Two Math\",\"Latin Modern Math\",\"Cambria Math\",\"Libertinus Math\",",
    "\"TeX Gyre Pagella Math\",\"DejaVu Math TeX Gyre\",math}",
    ".formula code,.note code{font-size:.8em;overflow-wrap:anywhere}",
    "code{font-family:ui-monospace,\"SF Mono\",Menlo,Consolas,\"DejaVu Sans Mono\",monospace}",
    "mtable{border:solid currentColor;border-width:0 "
    ".07em;padding:.1em;--tick:linear-gradient(currentColor,currentColor);",
    "background:var(--tick) 0 0/.3em .07em,var(--tick) 0 100%/.3em .07em,var(--tick) 100% 0/.3em .07em,",
    "var(--tick) 100% 100%/.3em .07em;background-repeat:no-repeat}mtd{padding:.15em "
    ".45em;text-align:right;text-align:-webkit-right}",
    ".within{color:var(--soft)}",
    ".diagnosis{margin:.35rem 0 .2rem;max-width:46rem;overflow-wrap:anywhere}",
    ".diagnosis strong{color:var(--bad);font-weight:600}.diagnosis strong::after{content:\":\"}",
    ".compare summary{color:var(--soft)}",

    /* Values. */
    ".values{display:flex;flex-wrap:wrap;gap:1rem 2.25rem;align-items:flex-start;overflow-x:auto;margin-top:.6rem}",
    ".values .note{flex-basis:100%}",
    ".values table{border-collapse:separate;border-spacing:0;font-size:.875rem;font-variant-numeric:tabular-nums;",
    "font-feature-settings:\"tnum\"}",
    "caption{text-align:left;color:var(--soft);font-size:.8rem;padding-bottom:.2rem}",
    ".values th{font-weight:400;color:var(--soft);font-size:.75rem;text-align:right;padding:.18rem .6rem}",
    ".values td{text-align:right;padding:.18rem .6rem;white-space:nowrap}",
    ".matrix tbody tr>:nth-child(2){border-left:1.5px solid var(--soft)}",
    ".matrix tbody tr>:last-child{border-right:1.5px solid var(--soft)}",
    ".pairs th[scope=col]{font-size:.8rem;border-bottom:1px solid var(--rule)}",
    ".pairs td+td,.pairs th+th{padding-left:1.1rem}",
    ".gap td{color:var(--soft);border:0}",
    "td.bad::before{content:\"✗\";content:\"✗\"/\"\";font-size:.8em;margin-right:.4em}",
    "td.bad{background:var(--bad-ground);color:var(--bad);font-weight:600}",
    "td.fix{font-weight:600;text-decoration:underline;text-decoration-thickness:1.5px;text-underline-offset:.25em;",
    "text-decoration-color:var(--good)}",
    ".number{font-variant-numeric:tabular-nums}",

    /* Drawings. */
    ".drawing{margin-top:1.5rem}figcaption{font-size:.95rem;color:var(--soft);margin-bottom:.6rem}figcaption "
    "math{font-size:1.05em}",
    ".drawing .scroll{background:var(--sheet);border-radius:6px;padding:1rem}",
    "svg.graph{display:block;margin:0 auto;max-width:100%;height:auto}",
    ".graph text{fill:var(--ink);font-family:system-ui,\"Segoe UI\",\"Liberation Sans\",sans-serif;",
    "font-variant-numeric:tabular-nums}",
    ".graph .node text:first-of-type{font-weight:600}.graph .node text.adjoint{fill:var(--accent)}",
    ".graph polygon,.graph path,.graph ellipse,.graph polyline{stroke:var(--soft)}",
    "svg.graph>g>polygon{fill:none;stroke:none}",
    ".graph .node polygon,.graph .node path{fill:var(--paper)}",
    ".graph .node polygon[fill=\"#dbeafe\"]{fill:var(--tint)}.graph .node polygon[stroke=gray]{stroke-dasharray:3 2}",
    ".graph .edge polygon{fill:var(--soft)}.graph .edge path{fill:none}",

    "footer{margin-top:4rem;padding-top:1.25rem;border-top:1px solid var(--rule);font-size:.9rem;color:var(--soft)}",
    "footer h2{font-size:1rem;color:var(--ink)}footer p{max-width:46rem;margin-top:.5rem}footer "
    ".maker{margin-top:1.5rem}",

    /* A phone. */
    "@media(max-width:40rem){body{padding:1.5rem 1rem 3rem;font-size:1rem}h1{font-size:1.5rem}h2{font-size:1.25rem}",
    ".file{margin-top:2.5rem}.claims>li{grid-template-columns:minmax(0,1fr);padding:.95rem 0}",
    ".said{flex-direction:row;justify-content:space-between;align-items:baseline}",
    ".wrong .what{margin-left:0;padding-left:.8rem}.overview td:nth-child(2),.overview thead td{display:none}",
    ".overview td:nth-child(n+3),.overview thead th:nth-child(n+3){padding-left:.7rem}",
    ".tally .bar{display:block;margin:.4rem 0 0}}",

    /* Paper: everything there is, in black. */
    "@media print{:root{--paper:#fff;--sheet:#fff;--ink:#000;--soft:#444;--rule:#bbb;--good:#14532d;--bad:#8a1c16;",
    "--bad-ground:#fff;--accent:#1d4066;--tint:#eef2f7;color-scheme:light}",
    "html{font-size:9pt}body{max-width:none;padding:0}.bar,.bar "
    "i{print-color-adjust:exact;-webkit-print-color-adjust:exact}.skip{display:none}",
    "pre,.drawing .scroll{max-height:none;overflow:visible;white-space:pre-wrap;padding:0}",
    "svg.graph{min-width:0!important;max-height:20cm}.file{margin-top:2rem}.claims>li,figure,.failure{break-inside:"
    "avoid}h2,h3,h4,summary{break-after:"
    "avoid}",
    "td.bad{outline:1px solid var(--bad)}.file{break-before:auto}a{color:inherit}}",
    NULL,
};
