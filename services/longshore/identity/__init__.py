"""Who is who among machines and services: names, certificates, and the authority that gives them.

A stack has an authority of its own. What it signs names a service's role or an agent's instance, as
a URI of SPIFFE's shape; whoever presents it is that. A folder holds all of it:

    authority/            0700: read by the supervisor, provisioning and the command alone
    authority/current.pem the authority's key, its certificate, and after a rotation that
                          certificate once more, signed by the authority before it
    stack                 the stack's id
    trusted.pem           certificates of the authorities that are trusted
    service/<role>.pem    key and certificates of a service

Each file is written beside its place and then renamed, so that a reader never sees half of one; key
and certificate are one file, so that they always belong together. Only `authority` and `request`
need the library of cryptography, which most processes never load.
"""
