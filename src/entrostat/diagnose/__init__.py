"""Why entropy moved: the first-order entropy change of dumped tokens, broken down.

Data flows one way, from the rows of a dump to a sentence:

    plan         what the files can tell: the columns they share, what is left out
    stream       reads every file once, batch by batch, and hands each batch on
    tokens       a batch as flat arrays, one entry per trained token: its entropy
                 change, region, clip event, ratio
    attributor   adds them up by region, position, prompt, ... and by clip event,
                 with sums (sums by key), grid (by threshold), bootstrap (intervals)
    attribution  all these sums as one object
    causes, advice, series, reach
                 what the sums say: causes, better thresholds, measured entropy,
                 whether a clip setting can matter at all
    verdict      five lines
    words        the same in sentences
    breakdowns, texts
                 the sums as tables, and the texts of the tokens and prompts in them
    result       all of it as one JSON-able dict, which --json prints
    tables, show the dict in a terminal
    viewer, packed, page
                 the dict as a page, with the responses token by token

A trainer's own log of rollouts (entrostat.dump.logs) is no dump:

    logged       what it tells by itself
    recompute, retokenise
                 a dump of one rollout of it, by the model that sampled it
"""
