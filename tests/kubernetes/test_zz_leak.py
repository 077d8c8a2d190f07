import asyncio, gc, os
import pytest
from tests.kubernetes.listening import connected
from tapio_otel.kubernetes.cluster import ClusterCache
from tapio_otel.kubernetes import client as C
MODE=os.environ["MODE"]
if MODE=="abort":
    import aiohttp
    from contextlib import asynccontextmanager
    old=C.KubernetesClient._answer
    @asynccontextmanager
    async def _answer(self,*a,**k):
        async with old(self,*a,**k) as r:
            try: yield r
            except asyncio.CancelledError:
                if r.connection and r.connection.transport: r.connection.transport.abort()
                raise
    C.KubernetesClient._answer=_answer
@pytest.mark.parametrize("delay", [0.03+i/800 for i in range(0,40)])
async def test_leak(cluster, delay):
    async with connected(kubeconfig=cluster.kubeconfig) as client:
        c=ClusterCache()
        t=asyncio.create_task(c.run(client))
        if delay>0.1: await c.synced()
        else: await asyncio.sleep(delay)
        t.cancel()
        await asyncio.gather(t, return_exceptions=True)
    await asyncio.sleep(0.5)
    if MODE!="none":
        for _ in range(5): await asyncio.sleep(0)
def test_gc():
    gc.collect()
