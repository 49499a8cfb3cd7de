"""Bytes: messages to frames (codec), frames to encrypted records (channel, noise) and back; no sockets."""
