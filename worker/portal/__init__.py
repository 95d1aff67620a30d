"""The portal seen from the wire: what is asked, what comes back, and what that proves."""
