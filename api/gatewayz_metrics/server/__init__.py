"""The stand-alone HTTP server: granian in our own event loop, and what it does not check by itself.

Only the command imports it. A host application has a server already, and needs nothing of this package.
"""

import os

# granian's allocator (jemalloc) reads this when granian is first imported, so it stands before any import of it.
# Without it the memory of a crowd of slow readers stays with the process.
os.environ.setdefault("_RJEM_MALLOC_CONF", "background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0")
