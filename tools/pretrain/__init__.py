"""Parts of `tools/pretrain_demo.py`: pre-training the ViT that demo and tests stand on."""
