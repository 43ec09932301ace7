"""Is an answer right: the verifiers of GSM8K, of boxed mathematics, of DAPO and of
reasoning-gym, and the processes that they run in."""

from entrostat.verify.answers import is_solution, readable
from entrostat.verify.pool import Verdict, VerifierPool
from entrostat.verify.registry import NEEDS, SPELLINGS, VERIFIERS, check_verifier

__all__ = [
    "NEEDS",
    "SPELLINGS",
    "VERIFIERS",
    "Verdict",
    "VerifierPool",
    "check_verifier",
    "is_solution",
    "readable",
]
