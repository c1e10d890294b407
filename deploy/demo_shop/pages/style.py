"""The shop's looks: one small style sheet, inline, so that a page is one request."""

STYLE = """
:root { --accent: ACCENT; --ink: #22262b; --soft: #6b727b; --line: #e3e1dc; --paper: #fbfaf7; }
* { box-sizing: border-box; } img { height: auto; }
body { margin: 0; font: 16px/1.55 system-ui, "Segoe UI", "Hiragino Sans", "Noto Sans CJK JP", sans-serif;
  color: var(--ink);
  background: var(--paper); }
a { color: inherit; text-decoration: none; }
a:hover { color: var(--accent); }
header, main, footer { max-width: 1120px; margin: 0 auto; padding: 0 24px; }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 8px 28px; padding: 22px 24px 14px;
  border-bottom: 1px solid var(--line); }
header .logo { font: 600 24px/1 Georgia, serif; color: var(--accent); }
header .logo small { display: block; font: 12px/1.6 system-ui, sans-serif; color: var(--soft); }
header nav { display: flex; flex-wrap: wrap; gap: 4px 18px; margin-left: auto; font-size: 14px; }
.crumbs { padding: 14px 0 0; font-size: 13px; color: var(--soft); }
.crumbs > * + *::before { content: "›"; margin: 0 8px; }
h1 { font: 600 30px/1.2 Georgia, "Hiragino Mincho ProN", serif; margin: 14px 0 10px; }
h2 { font: 600 20px/1.3 Georgia, "Hiragino Mincho ProN", serif; margin: 36px 0 12px; }
.product { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 40px; }
.gallery { display: grid; align-content: start; margin-top: 14px; grid-template-columns: repeat(3, 1fr); gap: 10px; }
.gallery img { width: 100%; border-radius: 8px; border: 1px solid var(--line); background: #fff; }
.gallery img:first-child { grid-column: 1 / -1; }
.price { font-size: 26px; font-weight: 600; margin: 6px 0; }
.card .price { font-size: 16px; margin: 2px 0; }
.stock { color: var(--accent); font-size: 14px; margin: 0 0 16px; }
.rating { color: #9a6b00; font-size: 14px; }
button, .button { display: inline-block; border: 0; border-radius: 8px; padding: 12px 26px;
  font: 600 15px/1 inherit; color: #fff;
  background: var(--accent); cursor: pointer; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 6px 22px; font-size: 14px; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); gap: 24px; padding: 0;
  margin: 18px 0; }
.card { background: #fff; border: 1px solid var(--line); border-radius: 10px; overflow: hidden; }
.card img { width: 100%; display: block; } .card h3 { font-size: 15px; margin: 10px 14px 2px; font-weight: 500; }
.card .price, .card p { margin: 2px 14px 12px; }
.variants { display: flex; flex-wrap: wrap; gap: 8px; margin: 14px 0; font-size: 13px; }
.variants a, .variants b { border: 1px solid var(--line); border-radius: 20px; padding: 4px 12px; background: #fff; }
.variants b { border-color: var(--accent); color: var(--accent); }
.sellers { font-size: 14px; padding-left: 18px; } .review { border-left: 3px solid var(--line);
  padding-left: 14px; margin: 14px 0; }
.review small, .note { color: var(--soft); } .pager { display: flex; gap: 20px; margin: 26px 0;
  align-items: baseline; }
footer { margin-top: 60px; padding: 22px 24px 40px; border-top: 1px solid var(--line); font-size: 13px;
  color: var(--soft); }
footer a { margin-right: 16px; } @media (max-width: 760px) { .product { grid-template-columns: 1fr; } }
"""
