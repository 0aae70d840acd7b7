"""How the gateway's clients name a member. Pure."""


def dotted(path: str) -> str:
    """A member's path, relative to the hub, as a user's name: `paris/edge-7` is `edge-7.paris`."""
    return ".".join(reversed(path.strip("/").split("/")))


def undotted(name: str) -> str:
    """The path, relative to the hub, that `dotted` made the name of; names of members have no dots."""
    return "/".join(reversed(name.split(".")))
