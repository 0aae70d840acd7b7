"""This hub as a part of a tree: the link up, what it says of everything below, calls that go further down."""
