import os

# Set before torch and transformers are imported. The models of the tests are too small to gain from
# threads, which cost more than they bring as soon as the machine does anything else.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
