"""Score weights on data: python evaluate.py weights.line=WEIGHTS data=alto data.root=DIR output=OUT.

The same as hwr evaluate.
"""

import sys

from hwr.__main__ import main

if __name__ == "__main__":
    main(["evaluate", *sys.argv[1:]])
