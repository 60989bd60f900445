"""The routes, one blueprint a file: check the payload, call one query function, answer."""
