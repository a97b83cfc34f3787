"""Parts of `tools/pretrain_demo.py`: pre-training the small ViT that the demo and the tests stand on."""
