"""One file a claim: statement, runs, criterion and judge. Its name is its paper's letter (c: neither) and a number."""
