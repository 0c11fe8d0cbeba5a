"""Plans and carries out changes, one module for each kind of backend."""
