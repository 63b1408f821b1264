"""A secret that may not leave: the plan check names the path, and a person decides.

gangline check examples/answer_customer.py:answer_customer
"""

from __future__ import annotations

import gangline as gl


@gl.tool(effects="read", labels=("secret",))
def customer_record(name: str) -> str:
    """Read what we know of a customer."""
    return f"{name}: owes 120"


@gl.tool(effects="none", labels=("declassify",))
def owes_something(record: str) -> bool:
    """Say whether a customer owes anything: this much may be told."""
    return "owes" in record


@gl.tool(effects="write", labels=("external",))
def mail(to: str, text: str) -> str:
    """Send a mail to somebody outside."""
    return f"to {to}: {text}"


@gl.workflow
def answer_customer(name: str) -> str:
    """Send a customer his whole record."""
    record = customer_record(name)
    return mail(name, "This is what we know: " + record)


@gl.workflow
def remind_customer(name: str) -> str:
    """Send a reminder where something is owed; the record itself stays here."""
    owes = owes_something(customer_record(name))
    return gl.branch(owes, lambda: mail(name, "Please pay."), lambda: "nothing to do")
