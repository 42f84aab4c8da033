"""Where answers come from: the only room that knows HTTP towards the upstream."""
