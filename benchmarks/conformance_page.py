def page(results):
    import collections
    rows = results.rows("test")
    out=[]
    for f in dict.fromkeys(r.file for r in rows):
        rs=[r for r in rows if r.file==f]
        out.append(f"{f}: {len(rs)} pyro {sum(r.pyro['outcome'] in ('passed','xfailed','xpassed') for r in rs)} regressed {sum(r.regressed for r in rs)} compiled {sum(r.compiled for r in rs)} digits {collections.Counter(r.digits for r in rs)}")
    for r in rows:
        if r.regressed: out.append(f"{r.name}: {r.ours['outcome']} {r.ours['error']}")
    c=collections.Counter(e for r in rows if r.ours for e in r.ours.get('eager',[]))
    out += [f"{n} {e}" for e,n in c.most_common()]
    return "\n".join(out)+"\n"
