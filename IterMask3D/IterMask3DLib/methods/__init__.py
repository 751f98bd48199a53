"""The methods: each in a folder of its own, with network, settings, training and conversion, behind one interface."""
