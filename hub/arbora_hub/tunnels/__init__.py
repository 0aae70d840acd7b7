"""Ways into members: asked for on a session, opened by whoever was asked, joined hop by hop.

opening.py   asks a child for a tunnel and waits until it dials back
service.py   where children dial back
relaying.py  a tunnel that the hub above asks for: opened below, then joined to it
"""
