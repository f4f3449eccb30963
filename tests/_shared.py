import sys
from ewdetect.engine import Engine
from tests.world import *
for name,pat in [l.split() for l in sys.argv[1:]]:
    with Engine(fields(), orientation()) as e:
        r=e.read(source(name),[str(SHARED/pat)],network("name: n\nnetworks: []\n"),[*fields()])
        fl=e.flows()
        import collections
        print(name,pat,dict(read=r.read,kept=r.kept,joined=r.joined,passed=r.passed,dropped=dict(r.dropped),rep=dict(r.repaired)), r.places[:3])
        print('   ',collections.Counter((f.get('network.transport'),f.get('flow.outcome'),f.get('flow.inferred'),f.get('flow.reversed')) for f in fl))
        assert r.read==r.kept+r.joined+r.passed+sum(r.dropped.values())
