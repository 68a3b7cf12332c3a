"""The console: server-rendered pages over the desks of the app.

A page is a document: it is complete without a script. Scripts add what a document cannot do: refresh by themselves
(`static/live.js`), follow a log, move a cursor over a chart, chat.
"""
