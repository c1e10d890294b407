"""Whether plain HTTP is enough for a page: learnt for each pattern of a site's URLs, and shared by the fleet.

Pattern: one of the site's own (`browser.patterns`), else the path with what changes as `*`, the same for every worker;
product pages and others are kept apart (patterns.py). Look: a page by HTTP is `full` or `bare`, whether it has what its
kind is fetched for: a product with a price; links to products. What is learnt, is learnt of a pattern and a look. A
page without scripts is `static`: a browser would show the same.

Comparison: HTTP first, then the browser, in the same lease. The browser's page is `more` where it has a product, a
price or links that HTTP's lacks (findings.py). The better page goes on, so that a comparison loses nothing, and a bare
page has always been looked at by the browser unless comparisons of such pages have said that it shows no more.

Confidence: where a fifth of the last comparisons or more of them were `more`, pages are rendered; Wilson's bounds
(90 %) say how sure that is. The first page is compared before any other of its pattern and look goes on: those wait.
What HTTP is enough for is compared again, the surer the rarer: by the upper bound, ROUTING_SLIPS pages that needed a
browser may go by in between. Full product pages are taken for enough until then. What surely needs a browser gets it
at once, without HTTP, but for every 20th page. A comparison that says otherwise is repeated with the next page.
"""
