# Finds libtorch: one named by CMAKE_PREFIX_PATH or Torch_DIR, else the one inside the
# torch package of .venv or of python3. Defines
#   tandem::torch   headers (SYSTEM) and libraries, with their folder as RPATH
#   tandem::openmp  the OpenMP runtime that libtorch loads: a process holds one only
find_path(TANDEM_TORCH_ROOT NAMES include/torch/csrc/api/include/torch/torch.h
          HINTS ${Torch_DIR}/../../.. NO_CACHE)
if(NOT TANDEM_TORCH_ROOT)
  foreach(python ${CMAKE_SOURCE_DIR}/.venv/bin/python python3)
    execute_process(
      COMMAND ${python} -c "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])"
      OUTPUT_VARIABLE found OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
    if(NOT failed AND EXISTS "${found}/include/torch/csrc/api/include/torch/torch.h")
      set(TANDEM_TORCH_ROOT "${found}")
      break()
    endif()
  endforeach()
endif()
if(NOT TANDEM_TORCH_ROOT)
  message(FATAL_ERROR "libtorch was not found. Run scripts/setup.sh, or name one: cmake -DCMAKE_PREFIX_PATH=/path/to/libtorch")
endif()
message(STATUS "libtorch: ${TANDEM_TORCH_ROOT}")

set(torch_lib ${TANDEM_TORCH_ROOT}/lib)
add_library(tandem_torch_interface INTERFACE)
target_include_directories(tandem_torch_interface SYSTEM INTERFACE
  ${TANDEM_TORCH_ROOT}/include ${TANDEM_TORCH_ROOT}/include/torch/csrc/api/include)
# libtorch_cpu and libtorch_cuda register their operators when they are loaded: they are kept although nothing
# names them, all in one group (CMake drops an option that stands a second time).
set(torch_libraries ${torch_lib}/libtorch.so ${torch_lib}/libtorch_cpu.so ${torch_lib}/libc10.so)
if(EXISTS ${torch_lib}/libtorch_cuda.so)
  list(APPEND torch_libraries ${torch_lib}/libtorch_cuda.so ${torch_lib}/libc10_cuda.so)
endif()
target_link_libraries(tandem_torch_interface INTERFACE -Wl,--no-as-needed ${torch_libraries} -Wl,--as-needed)
add_library(tandem::torch ALIAS tandem_torch_interface)
# Beside libtorch the module that is loaded at run time.
list(APPEND CMAKE_BUILD_RPATH ${torch_lib} ${CMAKE_BINARY_DIR})
list(APPEND CMAKE_INSTALL_RPATH ${torch_lib})

# Wheels carry their own libgomp; other builds use the system's.
# clang would emit calls to a runtime of its own: it builds without OpenMP (fuzz preset). So does
# ThreadSanitizer's preset: it does not see the barriers of a runtime that is not built for it.
add_library(tandem_openmp INTERFACE)
if(TANDEM_TSAN)
  target_compile_options(tandem_openmp INTERFACE -Wno-unknown-pragmas)
elseif(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  target_compile_options(tandem_openmp INTERFACE -fopenmp)
endif()
file(GLOB torch_gomp ${torch_lib}/libgomp*.so* ${TANDEM_TORCH_ROOT}/../torch.libs/libgomp*.so*)
if(torch_gomp)
  list(GET torch_gomp 0 torch_gomp)
  target_link_libraries(tandem_openmp INTERFACE ${torch_gomp})
elseif(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  target_link_options(tandem_openmp INTERFACE -fopenmp)
endif()
add_library(tandem::openmp ALIAS tandem_openmp)
