async def run(report): pass
