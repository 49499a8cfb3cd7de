"""What people start: the command, the twistd service, the chat, and what they share with a terminal."""
