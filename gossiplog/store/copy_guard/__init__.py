"""Whether a store may sign: it may not while another copy of it might."""
