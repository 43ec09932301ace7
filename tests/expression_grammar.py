"""The grammar of arithmetic answers, by splitting the text in every way that a rule allows: no tokens, no state."""

from functools import cache


@cache
def reference(text, rule="expression"):
    """(value, numbers) of `text` under a rule of the grammar, or None."""
    if rule == "expression":
        return _binary(text, "+-", "expression", "term") or reference(text, "term")
    if rule == "term":
        return _binary(text, "*", "term", "factor") or reference(text, "factor")
    if text[:1] == "(" and text[-1:] == ")":
        return reference(text[1:-1])
    digits = bool(text) and set(text) <= set("0123456789")
    return (int(text), (int(text),)) if digits and (text == "0" or text[0] != "0") else None


def _binary(text, operators, left_rule, right_rule):
    for i in reversed(range(len(text))):
        if text[i] in operators:
            left, right = reference(text[:i], left_rule), reference(text[i + 1 :], right_rule)
            if left and right:
                (a, left_numbers), (b, right_numbers) = left, right
                value = a + b if text[i] == "+" else a - b if text[i] == "-" else a * b
                return value, left_numbers + right_numbers
    return None
