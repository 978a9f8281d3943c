"""What XLA made of a program, read from its text."""

import re


def loop_body(text: str) -> str:
    """The body of the one loop that has convolutions."""
    bodies = dict(re.findall(r"^(%[\w.-]+) \(.*?\{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL))
    (body,) = [bodies[name] for name in re.findall(r"body=(%[\w.-]+)", text) if "convolution(" in bodies[name]]
    return body


def kernels(body: str) -> list[str]:
    """Of each convolution, what makes its kernel: "get-tuple-element" where it comes from outside of the loop."""
    made_by = dict(re.findall(r"^ *(?:ROOT )?(%[\w.-]+) = .*?\S ([\w-]+)\(", body, re.MULTILINE))
    return [made_by[name] for name in re.findall(r" convolution\(%[\w.-]+, (%[\w.-]+)\)", body)]
