"""The dialing side of a session: enroll, connect, resume, heartbeat, renew, back off."""
