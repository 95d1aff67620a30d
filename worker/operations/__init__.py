"""What has to become true of a pair or an opportunity: link, look, unlink; and when each is asked again."""
