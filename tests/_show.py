import sys,json
from tests.samples import became
from tests.world import *
from pathlib import Path
for n in sys.argv[1:]:
    raw=[p for p in (ROOT/'mappings'/n).glob('sample.*') if p.name!='sample.flows.jsonl'][0]
    t=became(n,raw); raw.with_name('sample.flows.jsonl').write_text(t)
    for l in t.splitlines():
        d=json.loads(l)
        if 'source.ip' in d:
            print(d['event.start'], d.get('event.duration'), d['source.ip'],d.get('source.port'),'>',d['destination.ip'],d.get('destination.port'),d.get('network.transport'),d.get('flow.outcome'),
             'B',d.get('source.bytes'),d.get('destination.bytes'),'P',d.get('source.packets'),d.get('destination.packets'),
             {k.replace('network.','').replace('event.',''):v for k,v in d.items() if k.split('.')[0] in('icmp','flow') and k!='flow.outcome' or k in('event.action','network.state','network.protocol','observer.name','network.history','event.id') or 'nat' in k})
        else: print(d)
