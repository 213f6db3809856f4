"""One reply at a stored place of an episode: does a policy make the call that belongs there?"""
