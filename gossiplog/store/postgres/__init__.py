"""A store on PostgreSQL that several relays share."""
