"""The embedded region's keeper: one process for each state folder."""
