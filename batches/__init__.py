"""OpenAI's batch API without HTTP: files, batches, and the runner that computes batches below all other work.

Everything is in BATCH_DIR, which several processes may share:

    files/<id>.json, <id>.jsonl       a file's object and its content
    batches/<id>/batch.json           a batch's object, written only by the process that holds the lease
    batches/<id>/lease                locked by the process that runs the batch
    batches/<id>/cancel               present once a client has cancelled the batch
    batches/<id>/input.jsonl          a link to the content of the input file
    batches/<id>/output.jsonl, errors.jsonl   the answers so far: a line with an answer is not computed again

api/files.py and api/batches.py have the routes.
"""
