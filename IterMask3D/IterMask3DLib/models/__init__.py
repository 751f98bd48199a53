"""Model folders: a card and safetensors files, verified whenever they are read. Nothing is ever unpickled."""
