from tests.convert_world import *
from ewdetect.problems import Rejected
from ewdetect.load import load_sources
import collections
for s in load_sources():
    for d in DIALECTS:
        c=collections.Counter(); why=set()
        for r in pack().alerting():
            try:
                q=converted(r,d,source_name=s.name); c['ok']+=1
                if s.name in('palo_alto','fortinet_fortigate','sysmon_3','packetbeat_flow') and r.name=='db_unapproved_role': print(d,s.name,q.text[:900])
            except Rejected as e: c['no']+=1; why|={(p.code, p.message[-160:]) for p in e.problems}
        if c['ok'] or d=='lucene': print(s.name,d,dict(c)); [print('    ',w) for w in sorted(why)[:4]]
