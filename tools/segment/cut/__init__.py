"""The method of the back end `classical`: a structure is what looks like its inside and not like
what surrounds it, with a short outline (GrabCut, with textures and a continuous cut)."""
