"""A verifier that does what its text says: for tests of the pool."""

import os
import sys
import time

TRIAL = "1"


def spell(answer):
    return answer


def obey(answer, completion):
    if completion == "hang":
        time.sleep(1000)
    if completion == "die":
        os._exit(7)
    if completion == "throw":
        raise KeyError("no")
    if completion == "print":
        print('{"score": 1.0}')
    if completion == "torch?":
        return float("torch" in sys.modules or "entrostat" in sys.modules)
    return float(answer == completion)
