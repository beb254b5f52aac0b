"""Scripts for ranks that mpirun starts; none needs a package."""

SUM = """
import ctypes, json, os, sys, time
lib = ctypes.CDLL("libmpi.so.40", mode=ctypes.RTLD_GLOBAL)
address = lambda name: ctypes.c_void_p(ctypes.addressof(ctypes.c_byte.in_dll(lib, name)))
world, whole, plus = map(address, ("ompi_mpi_comm_world", "ompi_mpi_int", "ompi_mpi_op_sum"))
assert lib.MPI_Init(None, None) == 0
rank = int(os.environ["OMPI_COMM_WORLD_RANK"])
mine, total = ctypes.c_int(rank + 1), ctypes.c_int(0)
assert lib.MPI_Allreduce(ctypes.byref(mine), ctypes.byref(total), 1, whole, plus, world) == 0
wanted = ("OMPI_COMM_WORLD_", "AZ_BATCH", "CCP_NODES", "TRAINWRIGHT_LAUNCH", "OWN")
seen = {name: value for name, value in os.environ.items() if name.startswith(wanted)}
seen |= {"cwd": os.getcwd(), "hosts": open(os.environ["AZ_BATCHAI_MPI_HOST_FILE"]).read()}
open(f"outputs/rank-{rank}.json", "w").write(json.dumps(seen))
print("rank", rank, "sees", total.value, *sys.argv[1:], flush=True)
print("to standard error", file=sys.stderr)
lib.MPI_Finalize()
"""
ONE_ENDS_BADLY = """
import os, signal, sys, time
print("at work", flush=True)
others_were_heard = sys.argv[2:]  # a file that says so; absent: nobody waits
if os.environ["OMPI_COMM_WORLD_RANK"] == "1":
    while not all(os.path.exists(path) for path in others_were_heard):
        time.sleep(0.05)
    print("about to fail", flush=True)
    if sys.argv[1] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.exit(int(sys.argv[1]))
time.sleep(600)
"""
ABORT = """
import ctypes, os, time
lib = ctypes.CDLL("libmpi.so.40", mode=ctypes.RTLD_GLOBAL)
assert lib.MPI_Init(None, None) == 0
if os.environ["OMPI_COMM_WORLD_RANK"] == "1":
    world = ctypes.addressof(ctypes.c_byte.in_dll(lib, "ompi_mpi_comm_world"))
    lib.MPI_Abort(ctypes.c_void_p(world), 9)
time.sleep(600)
"""
WAITING = """
import os, subprocess, time
subprocess.Popen(["sleep", "600"], start_new_session=True)
print("at work", os.environ["OMPI_COMM_WORLD_SIZE"], flush=True)
if "-a1-" in os.getcwd():  # the first attempt does not end by itself
    time.sleep(600)
"""
