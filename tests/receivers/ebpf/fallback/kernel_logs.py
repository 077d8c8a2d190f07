"""What kernels of several ages wrote about OOM kills, shortened by stack dumps and tables; the first was captured."""

from __future__ import annotations

V6_18 = """\
a) b, (c) invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0
CPU: 1 UID: 0 PID: 11918 Comm: a) b, (c) Not tainted 6.18.44 #1 PREEMPT(none) \n\
Call Trace:
 <TASK>
 dump_stack_lvl+0x57/0x80
RIP: 0033:0x7f352bb8c0ba
 </TASK>
memory: usage 30720kB, limit 30720kB, failcnt 0
memory+swap: usage 30720kB, limit 30720kB, failcnt 0
kmem: usage 80kB, limit 9007199254740988kB, failcnt 0
Memory cgroup stats for /fbcap:
cache 0
hierarchical_memory_limit 31457280
Tasks state (memory values in pages):
[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name
[  11918]     0 11918    55341    10984     9344     1640         0   139264        0             0 a) b, (c)
oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/fbcap,\
task_memcg=/fbcap/leaf (x) y,task=a) b, (c),pid=11918,uid=0
Memory cgroup out of memory: Killed process 11918 (a) b, (c)) total-vm:221364kB, anon-rss:37376kB, file-rss:6560kB, \
shmem-rss:0kB, UID:0 pgtables:136kB oom_score_adj:0
oom_reaper: reaped process 11918 (a) b, (c)), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB
"""

V5_4_GLOBAL = """\
systemd-journal invoked oom-killer: gfp_mask=0x100cca(GFP_HIGHUSER_MOVABLE), order=0, oom_score_adj=-250
CPU: 3 PID: 412 Comm: systemd-journal Not tainted 5.4.0-42-generic #46-Ubuntu
Mem-Info:
oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,\
task_memcg=/user.slice/user-1000.slice/session-2.scope,task=stress,pid=2871,uid=1000
Out of memory: Killed process 2871 (stress) total-vm:4195088kB, anon-rss:2884696kB, file-rss:288kB, shmem-rss:16kB, \
UID:1000 pgtables:5696kB oom_score_adj:872
"""

V5_15_GROUP = """\
java invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=944
CPU: 0 PID: 68061 Comm: java Not tainted 5.15.0 #1
memory: usage 51200kB, limit 51200kB, failcnt 73
swap: usage 0kB, limit 9007199254740988kB, failcnt 0
Memory cgroup stats for /kubepods.slice/pod.slice/c.scope:
anon 52428800
oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=c.scope,mems_allowed=0,oom_memcg=/kubepods.slice/pod.slice/c.scope,\
task_memcg=/kubepods.slice/pod.slice/c.scope/inner,task=java,pid=68061,uid=7
Memory cgroup out of memory: Killed process 68061 (java) total-vm:1kB, anon-rss:2kB, file-rss:3kB, shmem-rss:4kB, \
UID:7 pgtables:5kB oom_score_adj:944
Tasks in /kubepods.slice/pod.slice/c.scope are going to be killed due to memory.oom.group set
Memory cgroup out of memory: Killed process 68061 (java) total-vm:1kB, anon-rss:2kB, file-rss:3kB, shmem-rss:4kB, \
UID:7 pgtables:5kB oom_score_adj:944
oom_reaper: reaped process 68061 (java), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB
Memory cgroup out of memory: Killed process 68070 (sidecar) total-vm:10kB, anon-rss:20kB, file-rss:30kB, shmem-rss:40kB, \
UID:8 pgtables:50kB oom_score_adj:944
"""

V4_14 = """\
dd invoked oom-killer: gfp_mask=0x14000c0(GFP_KERNEL), nodemask=(null), order=0, oom_score_adj=0
CPU: 2 PID: 3876 Comm: dd Not tainted 4.14.0 #1
Task in /test/leaf killed as a result of limit of /test
memory: usage 51200kB, limit 51200kB, failcnt 73
memory+swap: usage 51200kB, limit 9007199254740988kB, failcnt 0
kmem: usage 296kB, limit 9007199254740988kB, failcnt 0
Memory cgroup stats for /test: cache:0KB rss:0KB rss_huge:0KB shmem:0KB mapped_file:0KB dirty:0KB
Memory cgroup stats for /test/leaf: cache:49632KB rss:1056KB rss_huge:0KB shmem:0KB mapped_file:0KB dirty:49500KB
[ pid ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name
[ 3861]     0  3861     4000     1000          61440        0             0 bash
Memory cgroup out of memory: Kill process 3861 (bash) score 88 or sacrifice child
Killed process 3876 (dd) total-vm:8484kB, anon-rss:1052kB, file-rss:1720kB, shmem-rss:0kB
oom_reaper: reaped process 3876 (dd), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB
"""

V4_19_GLOBAL_GROUP = """\
Out of memory: Kill process 1221 (allocate) score 241 or sacrifice child
Killed process 1221 (allocate) total-vm:2257144kB, anon-rss:2009128kB, file-rss:4kB, shmem-rss:0kB
Tasks in /A1 are going to be killed due to memory.oom.group set
Killed process 1217 (allocate) total-vm:2052344kB, anon-rss:1704036kB, file-rss:0kB, shmem-rss:0kB
Killed process 1218 (allocate) total-vm:106668kB, anon-rss:24668kB, file-rss:0kB, shmem-rss:0kB
"""

V3_10 = """\
java invoked oom-killer: gfp_mask=0xd0, order=0, oom_score_adj=0
java cpuset=/ mems_allowed=0
CPU: 1 PID: 215700 Comm: java Not tainted 3.10.0-1160.el7.x86_64 #1
Task in /LXC01 killed as a result of limit of /LXC01
memory: usage 1048576kB, limit 1048576kB, failcnt 24350
Memory cgroup stats for /LXC01: cache:0KB rss:1048576KB
Memory cgroup out of memory: Kill process 215701 (java) score 854 or sacrifice child
Killed process 215701 (java), UID 679, total-vm:11017300kB, anon-rss:7152432kB, file-rss:1232kB, shmem-rss:0kB
"""

V2_6_32 = """\
java invoked oom-killer: gfp_mask=0xd0, order=0, oom_adj=0, oom_score_adj=0
Pid: 215700, comm: java Not tainted 2.6.32-754.el6.x86_64 #1
Task in /LXC01 killed as a result of limit of /LXC01
memory: usage 1048576kB, limit 1048576kB, failcnt 24350
Memory cgroup out of memory: Kill process 215701 (java) score 854 or sacrifice child
Killed process 215701, UID 679, (java) total-vm:11017300kB, anon-rss:7152432kB, file-rss:1232kB
"""
