"""Text for the readers' messages, which are one line each: names of files, and errors of other libraries."""


def printable(name: str) -> str:
    """Return `name` with unprintable characters escaped: a file's name may be any bytes, also line breaks."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in name)


def one_line(error: BaseException) -> str:
    """Return the text of an error on one line, at most 200 characters; its type if it has no text."""
    return " ".join(str(error).split())[:200] or type(error).__name__
