"""Where recordings come from: the Internet Archive, folders and buckets, behind one protocol."""
