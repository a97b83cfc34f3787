"""What ARC is compared with and PEFT doesn't have: VPT, AdaptFormer and SSF as PEFT tuners."""
