"""The looks of the report: light and dark by the reader's setting, on paper light."""

STYLE = """
:root { --ground: #fff; --text: #1b1f24; --soft: #57606a; --rule: #d8dee4; --panel: #f6f8fa;
  --c0: #0969da; --c1: #bc4c00; --c2: #1a7f37; --c3: #8250df; --c4: #bf3989; --c5: #6e5600; --c6: #0f766e;
  --c7: #57606a }
@media (prefers-color-scheme: dark) { :root { --ground: #0d1117; --text: #e6edf3; --soft: #9aa4ae; --rule: #30363d;
  --panel: #161b22; --c0: #58a6ff; --c1: #f0883e; --c2: #56d364; --c3: #bc8cff; --c4: #f778ba; --c5: #e3b341;
  --c6: #39c5bb; --c7: #9aa4ae } }
@media print { :root { --ground: #fff; --text: #000 } nav { display: none } section { break-inside: avoid } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 66rem; background: var(--ground); color: var(--text);
  font: 16px/1.55 system-ui, sans-serif }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .5rem } h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem }
p { max-width: 46rem; color: var(--soft) } a { color: var(--c0) }
nav ul, .legend { display: flex; flex-wrap: wrap; gap: .25rem 1.1rem; padding: 0; list-style: none }
svg { display: block; width: 100%; height: auto } svg text { fill: var(--soft); font-size: 12px }
.legend { font-size: .875rem; margin: .25rem 0 1rem } .legend li { display: flex; align-items: center; gap: .4rem }
.key { width: 34px; height: 14px; flex: none }
.line { fill: none; stroke: currentColor; stroke-width: 2 } .band { fill: currentColor; opacity: .1 }
.dot { fill: currentColor } .dot.none { color: var(--rule) } .axis { stroke: var(--soft) } .grid { stroke: var(--rule) }
.even { fill: none; stroke: var(--soft); stroke-dasharray: 2 4 }
.c0 { color: var(--c0) } .c1 { color: var(--c1) } .c2 { color: var(--c2) } .c3 { color: var(--c3) }
.c4 { color: var(--c4) } .c5 { color: var(--c5) } .c6 { color: var(--c6) } .c7 { color: var(--c7) }
.scroll { overflow-x: auto; margin: 1rem 0; border: 1px solid var(--rule); border-radius: 6px }
table { border-collapse: collapse; width: 100%; font-size: .8125rem; font-variant-numeric: tabular-nums }
caption { text-align: left; font-weight: 600; padding: .5rem .75rem }
th, td { text-align: right; padding: .35rem .5rem; border-top: 1px solid var(--rule); vertical-align: top }
thead th { background: var(--panel); font-weight: 600 }
th:first-child { text-align: left; min-width: 8rem; font-weight: 500 }
.range { display: block; color: var(--soft); font-size: .72rem; white-space: nowrap }
"""
