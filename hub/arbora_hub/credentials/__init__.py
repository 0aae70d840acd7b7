"""Token requests: asked of a member, answered sealed to whoever asked. Nothing of them is ever stored."""
